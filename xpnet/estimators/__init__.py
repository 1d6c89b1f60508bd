"""scikit-learn's interface.

- `classifier`: `MLPClassifier` and `MLPRegressor`
- `base`: what both have in common
- `inputs`, `weights`: what they are given, and the weights in scikit-learn's form
- `convergence`: when a fit ends, and L-BFGS
- `files`: saved and loaded
"""
