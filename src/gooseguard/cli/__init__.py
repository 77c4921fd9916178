"""The command line: one module a verb, each with `register(app, …)`, called in `main.create_app`."""
