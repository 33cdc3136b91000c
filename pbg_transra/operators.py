"""Where configs for PBG that an earlier version wrote (`transra config pbg`) look for `pbg_transra.pbg.operators`."""

import pbg_transra.pbg.operators  # noqa: F401  it acts by being imported
