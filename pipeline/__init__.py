"""Top floor: the root config, the command line, workspace, locks and logs. Everything else is called from here."""
