"""How the weights change: optimizers, Muon, schedules of the rate, a moving average."""
