# Buckets stay in the regions that the customer lists; an empty list allows any.
package strongroom.rules.regions_are_allowed

import data.settings
import data.strongroom.lib

buckets := {
	"spec.data.train": lib.plan.facts.data_bucket,
	"spec.outputs": lib.plan.facts.outputs_bucket,
	"spec.audit": lib.plan.facts.audit_bucket,
}

pass if {
	every bucket in buckets {
		allowed(bucket)
	}
}

allowed(_) if count(settings.regions) == 0

allowed(bucket) if bucket.region in settings.regions

deny contains lib.denial(
	path,
	sprintf("a bucket in one of %v", [settings.regions]),
	lib.shown(bucket, "region"),
	"Use a bucket in an allowed region, or add the region to the policy's regions",
) if {
	some path, bucket in buckets
	not allowed(bucket)
}
