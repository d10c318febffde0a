# The virtual environment that tests and demo share, to be sourced: `make_venv` makes .venv in the current folder from
# requirements.lock, whose hashes are checked, and makes it anew only when the lock changes.

say() { printf '\n== %s\n' "$*" >&2; }

make_venv() {
    local python=${PYTHON:-python3} key
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "$python is $("$python" --version 2>&1); stream-engine needs Python 3.11 or newer: set PYTHON to one"
        return 1
    }
    # pyproject.toml counts too: the installed entry points and dependencies come from it.
    key=$("$python" --version; cat requirements.lock pyproject.toml | "$python" -c \
        'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    [ "$(cat .venv/lock-key 2>/dev/null)" != "$key" ] || return 0
    say "making .venv from requirements.lock"
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --editable .
    printf '%s\n' "$key" >.venv/lock-key
}
