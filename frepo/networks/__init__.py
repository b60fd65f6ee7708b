"""Networks: models, training, scoring, recipes, losses and augmentation."""
