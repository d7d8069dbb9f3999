package image

// ProveUnmounted is step 5 of writing a slot, for tests: nothing that a caller
// can do makes the kernel leave a journal dirty after an unmount.
var ProveUnmounted = proveUnmounted
