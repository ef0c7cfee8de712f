"""What ships inside the package: the embedded model, the embedded data sets, the renderer behind both."""
