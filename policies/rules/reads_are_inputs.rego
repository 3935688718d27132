# Every object that the run reads is named with its size, and is a dataset's, the model's or a sealed
# evaluator's.
package strongroom.rules.reads_are_inputs

import data.strongroom.lib

uris := {read.uri | read := lib.plan.objects.reads[_]}

# Manifests and model files by name; shards by their number.
named contains concat("", [dataset.uri, "manifest.json"]) if some dataset in lib.datasets

named contains concat("", [lib.sealed_evaluator.uri, "manifest.json"])

named contains concat("", [lib.sealed_evaluator.uri, "shard-00000.sealed"])

named contains concat("", [lib.plan.model.uri, file.name]) if some file in lib.plan.model.files

pass if {
	every read in lib.plan.objects.reads {
		sized(read)
	}
	complete
}

sized(read) if {
	lib.under(read.uri, lib.inputs)
	lib.is_positive(read.size_bytes)
}

complete if {
	named - uris == set()
	shards := sum([dataset.shards | dataset := lib.datasets[_]])
	count(uris - named) == shards
}

deny contains lib.denial(
	"spec.data",
	"objects of the datasets and the model, each with its size",
	lib.shown(read, "uri"),
	"Plan the run again with this version of strongroom",
) if {
	some read in lib.plan.objects.reads
	not sized(read)
}

deny contains lib.denial(
	"spec.data",
	"every manifest, shard and model file, once",
	sprintf("%v objects", [count(uris)]),
	"Plan the run again with this version of strongroom",
) if not complete
