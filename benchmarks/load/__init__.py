"""Serving under load: this service beside its bare engine, a plain service and LitServe."""
