"""Link prediction and retrieval, measured over all entities of the right type: `report.evaluate` is the way in."""
