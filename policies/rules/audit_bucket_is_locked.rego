# What is in the audit bucket cannot be changed or removed, by its owner neither.
package strongroom.rules.audit_bucket_is_locked

import data.settings
import data.strongroom.lib

bucket := lib.plan.facts.audit_bucket

pass if locked

locked if {
	bucket.versioned == true
	bucket.object_lock == true
	bucket.lock_mode in settings.audit_lock_modes
	bucket.lock_days >= settings.min_lock_days
}

deny contains lib.denial(
	"spec.audit",
	sprintf("a versioned bucket with Object Lock %v of %v days or more", [
		settings.audit_lock_modes,
		settings.min_lock_days,
	]),
	sprintf("versioned %v, object lock %v, mode %v, days %v", [
		lib.shown(bucket, "versioned"),
		lib.shown(bucket, "object_lock"),
		lib.shown(bucket, "lock_mode"),
		lib.shown(bucket, "lock_days"),
	]),
	"Turn on versioning and a default Object Lock retention for the audit bucket",
) if not locked
