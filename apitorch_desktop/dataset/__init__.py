"""What a person does to a training set, on any connection. No Qt."""
