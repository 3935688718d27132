# Every lease is for folders inside a bucket: a prefix without its slash also matches its
# neighbours, and an empty prefix is the whole bucket.
package strongroom.rules.scopes_are_folders

import data.strongroom.lib

pass if {
	is_array(lib.plan.leases)
	every lease in lib.plan.leases {
		scoped(lease)
	}
}

scoped(lease) if {
	lib.is_text(lease.bucket)
	count(lease.read) + count(lease.create) > 0
	every prefix in lease.read {
		narrow(prefix)
	}
	every prefix in lease.create {
		narrow(prefix)
	}
}

# One or more plain segments, each followed by a slash: no root, no wildcard, no "..".
narrow(prefix) if regex.match(`^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$`, prefix)

deny contains lib.denial(
	lib.access_path(lease, "uri"),
	"prefixes inside the bucket that end with '/'",
	sprintf("read %v, create %v", [lib.shown(lease, "read"), lib.shown(lease, "create")]),
	"Move datasets, model, outputs and audit log into folders of their own",
) if {
	some lease in lib.plan.leases
	not scoped(lease)
}
