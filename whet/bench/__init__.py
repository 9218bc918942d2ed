"""Tables that compare: ways of shrinking on one budget, forecasts with measurements."""
