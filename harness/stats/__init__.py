"""Pure statistics: intervals and Pareto fronts. Imports nothing of ours."""
