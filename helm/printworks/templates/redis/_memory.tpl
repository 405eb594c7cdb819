{{/* Three quarters of a quantity of memory, in bytes. */}}
{{- define "printworks.maxmemory" -}}
{{- $quantity := toString . }}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 }}
{{- $units = merge $units (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) }}
{{- $unit := regexFind "[A-Za-z]*$" $quantity }}
{{- mulf (trimSuffix $unit $quantity | float64) (get $units $unit) 0.75 | floor | int64 }}
{{- end }}
