"""The picture of a receipt: kept share and loss over the steps, as SVG."""
