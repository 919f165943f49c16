"""The battery: hostile requests and kills against real processes of the service."""
