"""scikit-learn's interface.

- `classifier`, `regressor`: `MLPClassifier` and `MLPRegressor`
- `base`: the methods that both have
- `parameters`: what the parameters stand for
- `inputs`, `labels`: what is given, checked; classes and values
- `class_weights`: how much the examples of each class count
- `validation`: what is held out, and its score
- `fitting`, `convergence`, `lbfgs`: the fit, when it ends, and L-BFGS
- `recipe_settings`, `recipe_fit`: what a recipe and the parameters set together; a fit by it
- `members`: several networks, each of which is the estimator alone
- `tuning`: a search for their hyper-parameters
- `estimator_subject`, `function_subject`: what it makes networks of
- `held_out`, `retraining`: what it measures on, and the best trained anew
- `weights`, `files`: the weights in scikit-learn's form; saved and loaded
"""
