# Data and outputs lie in versioned buckets, so that nothing which is overwritten is lost.
package strongroom.rules.buckets_are_versioned

import data.strongroom.lib

buckets := {
	"spec.data.train": lib.plan.facts.data_bucket,
	"spec.outputs": lib.plan.facts.outputs_bucket,
}

pass if {
	every bucket in buckets {
		bucket.versioned == true
	}
}

deny contains lib.denial(
	path,
	"a versioned bucket",
	sprintf("versioned %v", [lib.shown(bucket, "versioned")]),
	"Turn on versioning for the bucket",
) if {
	some path, bucket in buckets
	not bucket.versioned == true
}
