"""How good saliency maps are: the field's metrics against masks, and what our scores say about the errors."""
