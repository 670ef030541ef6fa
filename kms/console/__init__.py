"""The console: pages for people and the admin API, a web application of their own."""
