"""Wire types shared by the services. Pure: standard library only, no input or output."""
