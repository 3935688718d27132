# Each lease grants what its purpose needs and nothing else: readers cannot write, the writer can
# only create in the run's own folder, and no lease knows a right beyond read and create.
package strongroom.rules.leases_fit_their_use

import data.strongroom.lib

fields := {"purpose", "bucket", "role", "read", "create", "ttl_s", "endpoint"}

may_read := {
	"facts-read": lib.inputs,
	"data-read": lib.inputs,
	"run-read": {lib.run_folder},
	"run-create": set(),
	"audit-read": {lib.plan.audit},
}

may_create := {
	"facts-read": set(),
	"data-read": set(),
	"run-read": set(),
	"run-create": {lib.run_folder},
	"audit-read": set(),
}

pass if {
	is_array(lib.plan.leases)
	every lease in lib.plan.leases {
		fits(lease)
	}
	every purpose, uris in may_read {
		granted(purpose, "read", uris)
	}
	every purpose, uris in may_create {
		granted(purpose, "create", uris)
	}
}

fits(lease) if {
	object.keys(lease) - fields == set()
	lib.is_text(lease.role)
	every prefix in lease.read {
		concat("/", [lease.bucket, prefix]) in may_read[lease.purpose]
	}
	every prefix in lease.create {
		concat("/", [lease.bucket, prefix]) in may_create[lease.purpose]
	}
}

# What a purpose needs outside local folders is covered by a lease, so a run cannot pass without.
granted(purpose, right, uris) if {
	every uri in uris {
		has_lease(purpose, right, uri)
	}
}

has_lease(_, _, uri) if lib.is_local(uri)

has_lease(purpose, right, uri) if {
	some lease in lib.plan.leases
	lease.purpose == purpose
	some prefix in lease[right]
	concat("/", [lease.bucket, prefix]) == uri
}

deny contains lib.denial(
	lib.access_path(lease, "uri"),
	"a known purpose with its own prefixes and no further right",
	sprintf("%v: read %v, create %v", [
		lib.shown(lease, "purpose"),
		lib.shown(lease, "read"),
		lib.shown(lease, "create"),
	]),
	"Plan the run again with this version of strongroom; leases follow from the run file",
) if {
	some lease in lib.plan.leases
	not fits(lease)
}

deny contains lib.denial(
	"spec.access",
	sprintf("a lease for %v", [purpose]),
	"none",
	"Add an access entry for the bucket",
) if {
	some purpose, uris in may_read
	not granted(purpose, "read", uris)
}

deny contains lib.denial(
	"spec.access",
	sprintf("a lease for %v", [purpose]),
	"none",
	"Add an access entry for the bucket",
) if {
	some purpose, uris in may_create
	not granted(purpose, "create", uris)
}
