"""Run many simulated worlds: ``python -m tests.simulation --seeds 2000 [--from N] [--jobs 2]``."""

from tests.simulation.campaign import main

raise SystemExit(main())
