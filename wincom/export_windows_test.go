package wincom

// OpenDevice opens a port as the host does: a test's application is another such handle, on the other end.
var OpenDevice = openDevice
