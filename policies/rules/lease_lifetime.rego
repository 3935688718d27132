# No credential lives longer than the customer allows.
package strongroom.rules.lease_lifetime

import data.settings
import data.strongroom.lib

pass if {
	is_array(lib.plan.leases)
	every lease in lib.plan.leases {
		short(lease)
	}
}

short(lease) if {
	lib.is_positive(lease.ttl_s)
	lease.ttl_s <= settings.max_ttl_s
}

deny contains lib.denial(
	lib.access_path(lease, "ttl"),
	sprintf("at most %v s", [settings.max_ttl_s]),
	sprintf("%v s", [lib.shown(lease, "ttl_s")]),
	"Shorten the ttl; leases are refreshed while the run needs them",
) if {
	some lease in lib.plan.leases
	not short(lease)
}
