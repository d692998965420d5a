// Package powerdisk is a file system for tests whose power can be cut: what was
// not synced is gone then.
//
// It is as strict as the file systems that servers run on may be, and no stricter:
//
//   - What is written to a file is lost unless the file was synced after, or was
//     open with O_SYNC or O_DSYNC.
//   - What happened to names (a file or directory made, renamed, removed) is lost
//     unless any file or directory was synced after: journals are written as a
//     whole, in order.
//   - A file whose name is kept and whose content was never synced is empty.
//
// Times, owners and rights are not kept at all.
package powerdisk
