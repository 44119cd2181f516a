package wincom

// OpenDevice lets a test's application open the other end as the host opens its own.
var OpenDevice = openDevice
