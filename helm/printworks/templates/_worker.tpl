{{/* A pool's values: its own, and where it does not say, those of poolDefaults. Takes a list of root and the pool. */}}
{{- define "printworks.pool" -}}
{{- mustMergeOverwrite (deepCopy (first .).Values.poolDefaults) (deepCopy (last .)) | toJson }}
{{- end }}

{{/* A worker's image: what the pool does not say is as in images.worker. Takes a list of root and the pool. */}}
{{- define "printworks.workerImage" -}}
{{- $image := deepCopy (first .).Values.images.worker }}
{{- range $name, $said := (last .).image }}
{{- if $said }}{{ $_ := set $image $name $said }}{{ end }}
{{- end }}
{{- if and (last .).image.tag (not (last .).image.digest) }}{{ $_ := set $image "digest" "" }}{{ end }}
{{- toJson $image }}
{{- end }}

{{/* What fetches the models of the list, as a Job's container or a worker's init container: root, image, words, serves. */}}
{{- define "printworks.preloadContainer" -}}
{{- include "printworks.container" (dict "root" .root "name" "preload" "image" .image "words" .words) }}
  envFrom:
    - configMapRef: {name: {{ include "printworks.fullname" .root }}-settings}
  env:
    - name: HOME
      value: /tmp
    {{- with .serves }}
    - name: PRINTWORKS_SERVES
      value: {{ join "," . | quote }}
    {{- end }}
    {{- include "printworks.secretKey" .root | nindent 4 }}
    {{- include "printworks.modelsEnvironment" .root | nindent 4 }}
    {{- include "printworks.hubToken" .root | nindent 4 }}
  resources:
    {{- toYaml .root.Values.models.preload.resources | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: models, mountPath: /models}
    {{- include "printworks.modelsFileMount" .root | nindent 4 }}
{{- end }}

{{- define "printworks.preloads" -}}
{{- if and .Values.models.list .Values.models.preload.enabled }}yes{{ end }}
{{- end }}
