"""The data plane: authenticate, admit, dispatch, first event, stream, settle."""
