// Package s3test is a module of its own that pins the servers that the tests
// run object stores against, so that their dependencies are not the project's.
// Package storagetest builds and starts them.
package s3test
