"""Combined jobs: planning, forecasting and running chains of phases, with weighted progress."""
