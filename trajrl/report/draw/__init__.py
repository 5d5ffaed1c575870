"""Drawing charts: interactive, on paper, for TensorBoard, as video."""
