"""Which app a command is about: by its name, by where its code is, or the only one there is."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from stream_engine.sdk.engine import Engine
from stream_engine.sdk.errors import DeclarationError
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.apps import apps
from stream_engine.shell.settings import APP, Settings

_OURS = Path(__file__).parents[1]
_FORMS = "module:attribute or file.py:attribute, such as shop:engine or apps/shop.py:engine"


def resolve_app_name(option: str | None, settings: Settings) -> str:
    """Return the name of the app that a command is about.

    Args:
        option: the app's name or where its Engine is; None for the one in the settings, else the only one whose topics
            exist.
        settings: with a broker.

    Raises:
        UserError: the code cannot be loaded, or there is no app, or more than one.
    """
    app = option or settings.app
    if app is not None:
        return engine_name(app)
    found = apps(settings)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"no app has topics on {settings.bootstrap_servers}; `stream-engine worker` creates them for its app"
        )
    raise UserError(
        f"{len(found)} apps have topics on {settings.bootstrap_servers}: {', '.join(found)}; "
        f"say which one with --app or {APP}"
    )


def engine_name(app: str) -> str:
    """Return the name of an app that is given by its name, or by where its Engine is.

    Raises:
        UserError: the code cannot be loaded.
    """
    return load_engine(app).name if ":" in app or app.endswith(".py") else app


def load_engine(target: str) -> Engine:
    """Import an app's code, and return its Engine.

    ``target`` is ``module:attribute``, the module found as Python finds it or in the current folder, or
    ``file.py:attribute``, with the file's folder on the import path, as if Python had been started with the file.

    Raises:
        UserError: there is no such file, module or attribute, importing it fails, it is no Engine, or one that cannot
            work.
    """
    where, _, attribute = target.rpartition(":")
    if not where or not attribute:
        raise UserError(f"{target!r} does not say where an Engine is; write {_FORMS}")
    module = load_module(where)
    engine = getattr(module, attribute, None)
    if isinstance(engine, Engine):
        return _checked(engine, where)
    problem = (
        f"has no {attribute!r}" if engine is None else f"has a {type(engine).__name__} as {attribute!r}, not an Engine"
    )
    engines = [f"{where}:{name}" for name, value in vars(module).items() if isinstance(value, Engine)]
    there = f"it has {', '.join(engines)}" if engines else 'it has no Engine; make one, as in: engine = Engine("shop")'
    raise UserError(f"{where} {problem}; {there}")


def load_module(where: str) -> ModuleType:
    """Import code: a module, found as Python finds it or in the current folder, or a file, with its folder on the import path.

    Raises:
        UserError: there is no such file or module, or importing it fails.
    """
    return _load_file(Path(where)) if where.endswith(".py") else _load_module(where)


def _load_module(name: str) -> ModuleType:
    _put_on_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise UserError(
            f"there is no module {error.name!r} in {Path.cwd()} or in this Python environment ({sys.prefix}); "
            f"an app is {_FORMS}"
        ) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"there is no file {path}" + ("" if path.is_absolute() else f" in {Path.cwd()}"))
    path = path.resolve()
    _put_on_path(path.parent)
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    # The file's own name, so that the modules beside it can import it; unless somebody else has it.
    name = path.stem if loaded is None else f"{path.stem}_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return module


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _checked(engine: Engine, where: str) -> Engine:
    try:
        engine.catalogue()
    except DeclarationError as error:
        raise UserError(f"{where}: {error}") from error
    return engine


def _failed(what: str, error: BaseException) -> UserError:
    if isinstance(error, DeclarationError):
        return UserError(f"{_place(error)}: {error}")
    return UserError(f"importing {what} failed: {type(error).__name__}: {error} ({_place(error) or what})")


def _place(error: BaseException) -> str | None:
    """Return where an error comes from: where from code of our own, or code that is in no file, its caller."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not (frame.filename.startswith("<") or Path(frame.filename).is_relative_to(_OURS)):
            return f"{frame.filename}:{frame.lineno}"
    return None  # of code that cannot even be read
