"""Tables in files of many formats, some rows at a time, and arrays.

- `opening`: which format a file has, by its name
- `source`: a table that can be gone through again and again
- `text`: comma- and tab-separated text, plain or compressed; `text_rows`: its bytes and lines
- `parquet`: a Parquet file, or a folder of them; `folders`: how its parts go together
- `arrow`: Feather, and Arrow's files and streams
- `arff`: Weka's attribute-relation files
- `openml`: data sets of OpenML's
- `arrays`: NumPy's archives and pairs of files; `libsvm`: sparse text
"""
