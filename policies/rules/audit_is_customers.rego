# The audit log goes into the customer's audit bucket, apart from what the run writes.
package strongroom.rules.audit_is_customers

import data.settings
import data.strongroom.lib

pass if {
	lib.under(lib.plan.audit, settings.audit_prefixes)
	apart(lib.plan.audit, lib.plan.outputs)
}

apart(one, other) if {
	not startswith(one, other)
	not startswith(other, one)
}

deny contains lib.denial(
	"spec.audit",
	sprintf("a prefix under one of %v", [settings.audit_prefixes]),
	lib.shown(lib.plan, "audit"),
	"Log into your audit bucket, or add its prefix to the policy's audit_prefixes",
) if not lib.under(lib.plan.audit, settings.audit_prefixes)

deny contains lib.denial(
	"spec.audit",
	"a prefix apart from spec.outputs",
	lib.shown(lib.plan, "audit"),
	"Give the audit log a prefix of its own",
) if not apart(lib.plan.audit, lib.plan.outputs)
