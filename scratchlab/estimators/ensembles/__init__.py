"""Trees and what is built of several models: bagging, stacking, forests, boosting."""
