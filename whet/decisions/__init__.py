"""What strategies share: enumerating and drawing decisions, the ledger, Pareto sets, choices made differentiable."""
