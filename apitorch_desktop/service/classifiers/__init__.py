"""Training, classification and the standard classifiers of the service."""
