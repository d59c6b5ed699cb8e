"""Training the scenario model: events to cases, then its networks one after the other, then one file of weights."""
