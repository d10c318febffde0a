"""What the command line, clients and the web page ask of an app, from outside of its workers."""
