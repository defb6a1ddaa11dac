"""One YAML file -> typed trees -> VM templates and a OneFlow service, and everything that proves them right."""
