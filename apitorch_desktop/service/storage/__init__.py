"""The store's rows, a module a subject. Reads run on any thread, writes through the store's one writer."""
