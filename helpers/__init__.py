"""What two notebooks share: data, padding, models, training, figures."""
