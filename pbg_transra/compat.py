"""Where configs for PBG that an earlier version wrote (`transra config pbg`) look for `pbg_transra.pbg.compat`."""

import pbg_transra.pbg.compat  # noqa: F401  it acts by being imported
