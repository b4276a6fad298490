"""How good saliency maps are: the field's metrics against masks, and how well our scores predict the errors."""
