"""Which algorithm a sequence model follows in context: exact predictors, distances between predictors, and a trained model as one of them."""
