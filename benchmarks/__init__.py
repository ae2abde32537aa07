"""What a user of a voice library pays, measured against a bare WebSocket loop; see README.md beside this file."""
