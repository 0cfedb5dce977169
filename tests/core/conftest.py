from hypothesis import settings

# Deadlines measure the machine, not the code.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
